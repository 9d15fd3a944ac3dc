"""``python -m origin_vllm``: the same as ``origin-vllm``."""

from origin_vllm.entrypoints.cli import main

if __name__ == "__main__":
    main()
