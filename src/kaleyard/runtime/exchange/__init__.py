"""What a step notebook calls inside of its kernel: values, parameters, random state and result files, in and out."""
