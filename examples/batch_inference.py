"""Batch inference: vLLM's offline class, from origin_vllm."""

import origin_vllm
from origin_vllm import LLM, SamplingParams


def main():
    model = LLM(model=origin_vllm.DEMO_MODEL)
    prompts = ["Hello", "How are you?", "What is AI?"]
    sampling_params = SamplingParams(temperature=0.8)

    outputs = model.generate(prompts, sampling_params)
    for output in outputs:
        print(f"Prompt: {output.prompt}")
        print(f"Generated: {output.outputs[0].text}")


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
