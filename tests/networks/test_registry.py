"""The table of networks: names and depths, what it says of each, and a network of one's own."""

import fnmatch
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from smith import networks
from smith.errors import UserError
from smith.networks import NETWORKS, NetworkInfo, Options, network
from smith.registry import Registry

PAPER = ["shallow3", "lenet", "resnet-56", "resnet-56-relu", "wide-32", "densenet-40"]
PAPER += ["imagenet-resnet-50", "inception-resnet-v2"]


def key(seed):
    return jax.random.key(seed)


@pytest.fixture
def own_table(monkeypatch):
    """An empty place for networks: what a test registers is gone after it."""
    table: Registry[NetworkInfo] = Registry("network")
    for name in PAPER:
        table.add(name, NETWORKS[name], NETWORKS[name].build)
    monkeypatch.setattr("smith.networks.registry.NETWORKS", table)
    return table


class Blocks(nnx.Module):
    """A family with a list of layers, for images of any size; its path names have numbers in them."""

    def __init__(self, classes, options, *, rngs, depth):
        width = options.widen(8)
        self.blocks = nnx.List([nnx.Linear(3 if k == 0 else width, width, rngs=rngs) for k in range(depth)])
        self.count = nnx.BatchStat(jnp.zeros(()))
        self.dense = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images, *, train=False, key=None):
        x = images.mean((1, 2))
        for block in self.blocks:
            x = nnx.relu(block(x))
        self.count[...] += train
        return self.dense(x)


def test_the_networks_of_the_paper():
    assert [name for name in NETWORKS if name in PAPER] == PAPER


def test_an_unknown_network_suggests_the_nearest():
    for function in (networks.info, lambda name: networks.create(name, key(0))):
        with pytest.raises(UserError, match="unknown network 'shalow3': did you mean 'shallow3'"):
            function("shalow3")


@pytest.mark.parametrize(
    "name, depths",
    [
        ("resnet-9", "8, 14, 20, ..., as in resnet-56"),
        ("resnet-2", "8, 14, 20, ..., as in resnet-56"),
        ("resnet-57-relu", "8, 14, 20, ..., as in resnet-56-relu"),
        ("wide-33", "8, 14, 20, ..., as in wide-32"),
        ("densenet-4", "7, 10, 13, ..., as in densenet-40"),
        ("imagenet-resnet-101", "14, 26, 38, ..., as in imagenet-resnet-50"),
        ("inception-resnet-v2-33", "32, 48, 64, ..., as in inception-resnet-v2"),
    ],
)
def test_a_depth_that_is_not_of_the_family_is_told_the_family_s(name, depths):
    with pytest.raises(UserError, match=f"^{name}: the depths of this family are {re.escape(depths)}$"):
        networks.info(name)


@pytest.mark.parametrize(
    "name",
    ["resnet", "resnet-", "resnet-56-", "densenet-40-relu", "wide--32", "resnet-056", "shallow3-8", "lenet-5"]
    + ["imagenet-resnet", "inception-resnet-v2-", "inception-resnet-32-v2", "inception-resnet-32"],
)
def test_a_name_that_no_family_has_is_unknown(name):
    with pytest.raises(UserError, match=f"unknown network '{name}'"):
        networks.info(name)


@pytest.mark.parametrize(
    "name, known",
    [("resnet-20", "resnet-56"), ("resnet-110-relu", "resnet-56-relu"), ("densenet-100", "densenet-40")]
    + [("resnet-50", "resnet-56"), ("imagenet-resnet-26", "imagenet-resnet-50")]
    + [("inception-resnet-v2-32", "inception-resnet-v2"), ("inception-resnet-v2-176", "inception-resnet-v2")],
)
def test_other_depths_share_the_description(name, known):
    assert networks.info(name) is NETWORKS[known]


@pytest.mark.parametrize(
    "name, least, shallowest",
    [
        ("lenet", 8, "lenet"),
        ("resnet-56", 8, "resnet-8"),
        ("resnet-56-relu", 9, "resnet-14-relu"),
        ("densenet-40", 8, "densenet-10"),
        ("densenet-40", 0, "densenet-7"),
        ("imagenet-resnet-50", 8, "imagenet-resnet-14"),
        ("inception-resnet-v2", 8, "inception-resnet-v2-32"),
        ("inception-resnet-v2-64", 33, "inception-resnet-v2-48"),
    ],
)
def test_the_shallowest_network_of_a_family(name, least, shallowest):
    assert networks.shallow(name, least) == shallowest


# One's own


def test_a_family_of_one_s_own_is_found_created_and_run(own_table):
    network("blocks-4", depths=(2, 2), lr_multipliers={"blocks/0/bias": 2.0})(Blocks)
    assert networks.info("blocks-6") is own_table["blocks-4"]
    assert networks.info("blocks-6").image_shape is None
    graphdef, params, rest = networks.create("blocks-6", key(0), 5, Options(width=2))
    assert len(params["blocks"]) == 6 and params["dense"]["kernel"].shape == (16, 5)
    logits, new_rest = networks.apply(graphdef, params, rest, jnp.ones((3, 7, 9, 3)), train=True)
    assert logits.shape == (3, 5) and new_rest["count"] == 1 and rest["count"] == 0


def test_a_family_may_keep_its_depth_out_of_its_name(own_table):
    network("blocks", depths=(2, 2), depth=4)(Blocks)
    for name, depth in {"blocks": 4, "blocks-4": 4, "blocks-6": 6}.items():
        assert networks.info(name) is own_table["blocks"]
        assert len(networks.create(name, key(0), 5)[1]["blocks"]) == depth
    with pytest.raises(UserError, match="'blocks-2' is a depth of 'blocks' already"):
        network("blocks-2")


def test_a_function_without_depth_in_a_name_with_a_number(own_table):
    @network("net-7-b")
    def build(classes, options, *, rngs):
        return nnx.Linear(1, classes, rngs=rngs)

    assert networks.info("net-7-b").build is build
    assert networks.create("net-7-b", key(0), 4)[1]["kernel"].shape == (1, 4)
    with pytest.raises(UserError, match="unknown network 'net-8-b'"):
        networks.info("net-8-b")


def test_a_taken_name_is_refused_but_not_to_the_same_class(own_table):
    network("blocks-4", depths=(2, 2))(Blocks)
    network("blocks-4", depths=(2, 2))(Blocks)
    with pytest.raises(UserError, match="'blocks-4'"):
        network("blocks-4", depths=(2, 2))(lambda classes, options, *, rngs, depth: None)


def test_a_depth_of_another_family_is_taken_too(own_table):
    with pytest.raises(UserError, match="'resnet-20' is a depth of 'resnet-56' already"):
        network("resnet-20")


@pytest.mark.parametrize("name", ["plain", "a-1-2", "a-08"])
def test_a_family_needs_a_depth_in_its_name(name, own_table):
    with pytest.raises(UserError, match="put one of them into the name"):
        network(name, depths=(2, 1))


# What a run learns of them


def test_most_networks_take_smaller_images_too():
    some = [("shallow3", (16, 24, 3)), ("resnet-8", (12, 8, 3)), ("densenet-7", (4, 4, 3))]
    for name, shape in [*some, ("imagenet-resnet-14", (230, 33, 3)), ("inception-resnet-v2-32", (75, 5, 3))]:
        networks.info(name).check_images(name, shape)

        def logits(name=name, shape=shape):
            network = networks.create(name, key(0), 10, Options(width=0.1, image_shape=shape))
            return networks.apply(*network, jnp.ones((2, *shape)), train=False)[0]

        assert jax.eval_shape(logits).shape == (2, 10)
    some = [("shallow3", (12, 12, 3)), ("resnet-8", (32, 32, 1)), ("lenet", (32, 32, 1))]
    for name, shape in [*some, ("imagenet-resnet-50", (230, 230, 1))]:
        with pytest.raises(UserError, match=f"{name} does not take images of {' x '.join(map(str, shape))}"):
            networks.info(name).check_images(name, shape)


@pytest.mark.parametrize("name", PAPER)
def test_the_multipliers_are_the_author_s_and_name_parameters_that_exist(name):
    """As in Caffe's and the author's network files, by parameter; all others have 1. BatchNorm is declared."""
    deep = {"dense/bias": 2}
    rates = {
        "shallow3": {"conv1/bias": 2, "conv2/bias": 2, "dense/bias": 2},
        "lenet": {"conv1/bias": 2, "conv2/bias": 2, "dense1/bias": 2, "dense2/bias": 2},
        "inception-resnet-v2": {**deep, "*/up/bias": 2},
    }.get(name, deep)
    decays = {
        "shallow3": {"dense/kernel": 250, "dense/bias": 0},
        "resnet-56": {"dense/bias": 0},
        "wide-32": {"dense/bias": 0},
        "imagenet-resnet-50": {"dense/bias": 0},
        "inception-resnet-v2": {"dense/bias": 0, "*/up/bias": 0},
    }.get(name, {})
    info = networks.info(name)
    assert {path: m for path, m in info.lr_multipliers.items() if m != 1} == rates
    assert info.decay_multipliers == decays
    params, rest = jax.eval_shape(lambda: networks.create(name, key(0))[1:])
    assert info.batch_norm == bool(jax.tree.leaves(rest)) == (name not in ("shallow3", "lenet"))
    known = {"/".join(str(k.key) for k in path) for path, _ in jax.tree.leaves_with_path(params)}
    assert all(fnmatch.filter(known, path) for path in [*info.lr_multipliers, *info.decay_multipliers])


@pytest.mark.parametrize("width, channels", [(1.0, 16), (0.01, 1), (0.1, 2), (0.36, 6), (1.3, 21), (0.5, 8)])
def test_a_width_is_rounded_and_leaves_one_channel_at_least(width, channels):
    assert Options(width=width).widen(16) == channels
