"""Transfer of backbones: does a better classifier make a better segmenter or detector?"""
