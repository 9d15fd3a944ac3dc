"""A subclass of LLM with post-processing of its own."""

import origin_vllm
from origin_vllm import SamplingParams
from origin_vllm.entrypoints.llm import LLM


class CustomLLM(LLM):
    def custom_generate(self, prompts, **kwargs):
        # Whatever comes before generation.
        results = super().generate(prompts, **kwargs)
        # And after it.
        return self.post_process(results)

    def post_process(self, results):
        return [output.outputs[0].text.strip().upper() for output in results]


def main():
    model = CustomLLM(model=origin_vllm.DEMO_MODEL)
    sampling_params = SamplingParams(temperature=0, max_tokens=16)
    for text in model.custom_generate(["Hello", "vLLM is"], sampling_params=sampling_params):
        print(text)


if __name__ == "__main__":
    main()
