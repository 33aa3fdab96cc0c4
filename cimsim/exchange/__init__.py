"""Exchange with other libraries: configurations of aihwkit and CrossSim, and weights in ONNX."""
