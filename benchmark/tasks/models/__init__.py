"""Networks of the tasks, in the convention of timm: forward_features, forward_head, num_classes."""
