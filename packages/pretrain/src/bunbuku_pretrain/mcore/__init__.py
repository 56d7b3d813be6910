"""Everything that knows Megatron-core, and nothing that decides what is trained.

`runtime` starts a rank (device, backend, parallel groups, shims), `model` builds it, `router` is the mixture's gate,
`weights` fills a model from Hugging Face names, `checkpoint` saves and loads, `loop` trains. Importing this package
imports torch and Megatron, so only a rank's process does.
"""
