"""Times the first epoch of the code of arXiv 2103.17268 on MNIST: run in a checkout of it, as reference_epoch.py WIDTH THREADS

The checkout must be ready to train: auto_LiRPA installed for this Python, MNIST where its data loader looks for it. Its training script runs as it
is, but that CNN-7 has another width, nothing is sent to Weights & Biases, and its function `Train` is timed. The last line printed is
`seconds S`, of the first call of `Train`: the training half of the first epoch.
"""
import ast
import inspect
import sys
import time
import types


class Silent(types.ModuleType):
    """Stands for the module `wandb`: everything may be called, and does nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Silent(name)

    def __call__(self, *args, **kwargs):
        return Silent("result")

    def __setattr__(self, name, value):
        pass


def set_width(width):
    """Changes the default of the parameter `width` of the function that builds CNN-7."""
    from models import feedforward
    build = feedforward.cnn_7layer_bn2
    names = [p.name for p in inspect.signature(build).parameters.values() if p.default is not p.empty]
    defaults = list(build.__defaults__)
    defaults[names.index("width")] = width
    build.__defaults__ = tuple(defaults)


def timed(train, seconds):
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return train(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - start)
    return wrapper


def main():
    width, threads = map(int, sys.argv[1:])
    sys.path.insert(0, ".")
    sys.modules["wandb"] = Silent("wandb")
    import torch
    torch.set_num_threads(threads)
    set_width(width)
    sys.argv = ["train.py", "--method=fast", "--config=config/mnist.json", "--model=cnn", "--scheduler_opts=start=1,length=20",
                "--lr-decay-milestones=50,60", "--num-epochs=1", "--batch-size=256", "--device=cpu"]
    seconds = []
    tree = ast.parse(open("train.py", encoding="utf-8").read(), "train.py")
    place = next(i for i, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef) and node.name == "Train")
    tree.body[place + 1:place + 1] = ast.parse("Train = __timed__(Train)").body
    exec(compile(tree, "train.py", "exec"), {"__name__": "__main__", "__file__": "train.py", "__timed__": lambda train: timed(train, seconds)})
    print("seconds", seconds[0])


if __name__ == "__main__":
    main()
