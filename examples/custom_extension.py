"""An extension: a plain callable that is told of every request and output.

It runs beside the engine: one that raises or hangs is counted and left out, requests never notice.
"""

import origin_vllm
from origin_vllm import LLM, SamplingParams
from origin_vllm.config import get_config, safe_inherit


def custom_logger(event):
    print(f"{type(event).__name__}: request {event.request_id}")


def my_custom_method(self):
    return f"custom_method of {type(self).__name__}"


def main():
    config = get_config()
    config.add_custom_extension("logging", custom_logger)
    print(f"Base vLLM path: {config.base_vllm_path}")
    print(f"Fallback mode: {config.fallback_mode}")

    # A class made at run time. Its base may be any class of vLLM's; where vLLM has no such class
    # and fallback mode is on, a stand-in takes its place and says so.
    MyClass = safe_inherit(
        "vllm.sampling_params", "SamplingParams", "MyClass", {"custom_method": my_custom_method}
    )
    print(MyClass(temperature=0).custom_method())

    model = LLM(model=origin_vllm.DEMO_MODEL)
    model.generate(["Hello"], SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)


if __name__ == "__main__":
    main()
