"""The built-in model server: one ONNX model, one process, the Open Inference Protocol over HTTP.

A request passes, in this order: `http` (the wire, one coroutine a request), `api` (which path,
which answer), `messages` with `content` and `tensors` (bytes to arrays and back), `runner` (who
runs next, inline or in the thread), `batching` (who runs together), `execution` (one run, each its
rows), `session` (onnxruntime). Everything but `http` and `runner` works without an event loop.
Nothing here calls another process, and bad input is never more than a 4xx with the protocol's
`{"error": …}`.
"""
