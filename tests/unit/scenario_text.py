"""A good scenario, for tests that break one thing in it."""

SCENARIO = """\
name: case
model: llama-3.1-8b
hardware: a100-80gb-sxm
deployment: {tensor_parallel: 2}
serving:
  max_model_len: 4096
  kv_dtype: bf16
workload:
  kind: requests
  prompt_tokens: 2048
  output_tokens: 256
  arrival: {kind: poisson, rate: 2 /s}
  num_requests: 10
"""
