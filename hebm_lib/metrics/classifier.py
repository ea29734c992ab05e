"""The measuring tool: a small convolutional digit classifier that says which class a generated image shows.

It reads 32×32 grey images in [-1, 1] (28×28 padded with 2 pixels of black). Its published weights classify at least
99 % of MNIST's test images; every class-change rate in the book is counted with them.

A generator's mean images are fainter and softer than MNIST's digits. A classifier that has only ever seen crisp digits
reads a faint 2 as a 1, so the book's own is trained on faint and soft digits too (``worn``). The one trained on crisp
digits alone is published beside it, `reading_accuracy` compares the two on real digits, and results carry both readings.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from hebm_lib.checkpoint import CheckpointError, pretrained_folder, replacing
from hebm_lib.data import ImageDataset, pad_black
from hebm_lib.metrics.pixels import PART

__all__ = [
    "DigitClassifier",
    "accuracy",
    "fainter",
    "fit_classifier",
    "load_classifier",
    "predict",
    "read_classifier",
    "reading_accuracy",
    "save_classifier",
    "softer",
]


class DigitClassifier(nn.Module):
    """Two convolutions with pooling and two linear layers: ``(n, 1, S, S) -> (n, classes)`` logits.

    Args:
        classes: number of labels.
        size: side S of the images, a multiple of 4.
        channels: image channels.

    Example:
        >>> DigitClassifier(size=8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10, size: int = 32, channels: int = 1):
        super().__init__()
        self.classes, self.size, self.channels = classes, size, channels
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (size // 4) ** 2, 128),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.25), nn.Linear(128, classes))
        self.to(memory_format=torch.channels_last)  # less than half the time on a CPU, most of it in the pooling

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@torch.enable_grad()
def fit_classifier(
    train: ImageDataset,
    *,
    epochs: int = 6,
    batch_size: int = 128,
    seed: int = 1,
    rate: float = 1e-3,
    progress: bool = True,
    worn: bool = True,
) -> DigitClassifier:
    """Train a classifier with Adam and a one-cycle learning rate; images are shifted by up to two pixels.

    Args:
        train: labelled images.
        worn: also make images fainter and softer at random, as generated digits are and MNIST's are not.

    Example:
        >>> from hebm_lib.data import load_dataset
        >>> train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
        >>> classifier = fit_classifier(train, epochs=12, progress=False, worn=False)
        >>> classifier.size, accuracy(classifier, test) > 0.5
        (8, True)
    """
    with seeded(seed):
        return _fit(train, epochs, batch_size, rate, progress, worn)


@contextlib.contextmanager
def seeded(seed: int):
    """torch's global CPU generator at a seed while the block runs, and where it was afterwards; GPUs' are not touched.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(3):
        ...     first = torch.rand(())
        >>> again = torch.rand((), generator=torch.Generator().manual_seed(3))
        >>> torch.equal(torch.get_rng_state(), before), torch.equal(first, again)
        (True, True)
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def device_of(classifier: Callable[[Tensor], Tensor]) -> torch.device:
    """Where a classifier's parameters are; the CPU for one without any, be it a module or a plain function.

    >>> device_of(nn.Linear(1, 1, device="meta")), device_of(nn.ReLU()), device_of(lambda x: x)
    (device(type='meta'), device(type='cpu'), device(type='cpu'))
    """
    parameters = classifier.parameters() if isinstance(classifier, nn.Module) else ()
    return next((p.device for p in parameters), torch.device("cpu"))


def _fit(train: ImageDataset, epochs: int, batch_size: int, rate: float, progress: bool, worn: bool) -> DigitClassifier:
    model = DigitClassifier(int(train.labels.max()) + 1, train.images.shape[-1], train.images.shape[1]).train()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    steps = epochs * (len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * rate, total_steps=steps)
    bar = tqdm(total=steps, desc="classifier", disable=not progress)
    for _ in range(epochs):
        for index in torch.randperm(len(train))[: steps // epochs * batch_size].split(batch_size):
            # A shifted crop of the padded batch: generated digits are not centred as MNIST's are.
            dx, dy = torch.randint(5, (2,)).tolist()
            x = F.pad(train.batch(index), (2, 2, 2, 2), value=-1.0)
            x = x[..., dy : dy + model.size, dx : dx + model.size]
            x = fainter_and_softer(x) if worn else x
            loss = F.cross_entropy(model(x), train.labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.update()
    bar.close()
    return model.eval()


def fainter(x: Tensor, ink) -> Tensor:
    """Images in [-1, 1] with the brightness above black multiplied by ``ink``.

    Example:
        >>> fainter(torch.tensor([-1.0, 0.0, 1.0]), 0.5).tolist()
        [-1.0, -0.5, 0.0]
    """
    return (x + 1) * ink - 1


def softer(x: Tensor) -> Tensor:
    """Images ``(n, C, S, S)`` in [-1, 1], averaged over 3×3 pixels; the border counts as black.

    Example:
        >>> white = torch.ones(1, 1, 3, 3)
        >>> [round(value, 3) for value in softer(white)[0, 0, 1].tolist()]  # white in the middle, a third less at the sides
        [0.333, 1.0, 0.333]
    """
    return F.avg_pool2d(x + 1, 3, stride=1, padding=1) - 1


def fainter_and_softer(x: Tensor) -> Tensor:
    """Images ``(n, C, S, S)`` in [-1, 1] with ink scaled by 0.25 … 1, each by its own factor; half of them blurred."""
    x = fainter(x, torch.empty(len(x), 1, 1, 1, device=x.device).uniform_(0.25, 1.0))
    blurred = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(blurred, softer(x), x)


def reading_accuracy(classifier: nn.Module, test: ImageDataset) -> dict[str, float]:
    """Accuracy on real test images as they are, fainter, softer, and both: is this the tool for generated images?

    Example:
        >>> from hebm_lib.data import load_dataset
        >>> test = load_dataset("digits", "test").subset(slice(0, 20))
        >>> shares = reading_accuracy(DigitClassifier(size=8).eval(), test)
        >>> list(shares)[:3], 0 <= shares["half the ink"] <= 1
        (['as they are', 'half the ink', 'a third of the ink'], True)
    """
    x = test.batch(slice(None))
    worn = {
        "as they are": x,
        "half the ink": fainter(x, 0.5),
        "a third of the ink": fainter(x, 1 / 3),
        "softened": softer(x),
        "softened, half the ink": fainter(softer(x), 0.5),
        "softened twice": softer(softer(x)),
    }
    return {
        name: float((predict(classifier, y) == test.labels.to(y.device)).float().mean()) for name, y in worn.items()
    }


@torch.no_grad()
def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch: int = PART) -> Tensor:
    """The class of each image: ``(n, C, S, S) -> (n,)``. Images smaller than the classifier's get a border of black.

    They are read where the classifier is, and the answers come back to where they are.

    Raises:
        ValueError: for images larger than the classifier reads.

    Example:
        >>> predict(load_classifier(), torch.full((2, 1, 28, 28), -1.0)).shape
        torch.Size([2])
    """
    if isinstance(classifier, DigitClassifier):
        images = pad_black(images, classifier.size)
    device = device_of(classifier)
    return torch.cat([classifier(part.to(device)).argmax(1) for part in images.split(batch)]).to(images.device)


@torch.no_grad()
def accuracy(classifier: nn.Module, data: ImageDataset, batch: int = PART) -> float:
    """Share of a data set's images that get their own label.

    Example:
        >>> from hebm_lib.data import load_dataset
        >>> zeros = load_dataset("digits", "test", classes=(0,))
        >>> class AlwaysZero(nn.Module):
        ...     def forward(self, x):
        ...         return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)
        >>> accuracy(AlwaysZero(), zeros)
        1.0
    """
    answers = torch.cat([classifier(x).argmax(1) for x in data.batches(batch, device_of(classifier))])
    return (answers == data.labels.to(answers.device)).float().mean().item()


def save_classifier(model: DigitClassifier, path: Path, **metadata) -> None:
    """Write the weights (float16: its answers on MNIST's test set stay the same) with what it needs to be built.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(DigitClassifier(size=8), Path(folder) / "reader.safetensors", epochs=6)
        ...     [path.name for path in Path(folder).iterdir()]
        ['reader.safetensors']
    """
    shape = {"classes": model.classes, "size": model.size, "channels": model.channels}
    header = {"format": "hebm-classifier-1", "shape": json.dumps(shape), "metadata": json.dumps(metadata)}
    with replacing(Path(path)) as temporary:
        save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, temporary, metadata=header)


def load_classifier(name: str = "mnist-classifier") -> DigitClassifier:
    """A published classifier by name, in evaluation mode; raises `CheckpointError` if it is missing or damaged.

    Example:
        >>> reader = load_classifier("mnist-classifier")
        >>> reader.classes, reader.size, reader.training
        (10, 32, False)
    """
    return read_classifier(pretrained_folder() / f"{name}.safetensors")


def read_classifier(path: Path) -> DigitClassifier:
    """A classifier from a file of `save_classifier`, in evaluation mode; raises `CheckpointError` as `load_classifier`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "reader.safetensors"
        ...     save_classifier(DigitClassifier(size=8), path)
        ...     read_classifier(path).size
        8
    """
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["shape"])
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a classifier of this library ({error})") from error
    with torch.random.fork_rng(devices=[]):
        model = DigitClassifier(**shape)
    model.load_state_dict(tensors)
    return model.eval()
