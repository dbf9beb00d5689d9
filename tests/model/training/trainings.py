"""Trainings on the tiny world: their parameters, their inputs, one in this process."""

from model.training.distributed import World
from model.training.inputs import TrainingInputs
from model.training.task import train
from tests.model.small_network import CPU, SIZES, pipeline_params

ALONE = World(0, 1, CPU)
RECOMMENDER = "recommender_checkpoint"


def training_params(*, training=None, loss=None, **changes):
    """Parameters of both trainings; a keyword per section updates it."""
    values = pipeline_params().model_dump(mode="json")
    for name in ("encoder_checkpoint", RECOMMENDER):
        values[name] |= {"batch_size": 8, "epochs": 3, "initialize_from_encoder": False}
        values[name] |= training or {}
        values[name]["loss"] |= loss or {}
    for name, update in changes.items():
        values[name] |= update
    return type(pipeline_params()).model_validate(values)


def training_inputs(data):
    """All that a training reads, of the tiny world."""
    return TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, SIZES, None, "content"
    )


def train_recommender(data, params, folder, *, world=ALONE, **options):
    """Train into ``folder / "checkpoint"``; whether it came to its end."""
    return train(
        training_inputs(data),
        params,
        RECOMMENDER,
        world,
        state_folder=folder / "state",
        out=folder / "checkpoint",
        **options,
    )


def without_noise(params, *, feed_forward="none"):
    """The same parameters with nothing random in a step."""
    values = params.model_dump(mode="json")
    values["network"] |= {"dropout": 0.0, "input_dropout": 0.0}
    values["network"]["features"]["context_dropout"] = 0.0
    values["network"]["feed_forward"]["kind"] = feed_forward
    return type(params).model_validate(values)
