"""The single neuron, exactly."""
