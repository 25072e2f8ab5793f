"""The order: what a ``fleet`` command asks of the program that it runs, and what the fleets in it answer.

``fleet up`` of a user's own program has Pulumi run that program, in a process of its own and maybe in a virtual
environment of its own. It says what it wants in an environment variable, :data:`VARIABLE`, which holds no secret. Each
fleet of the program answers with its plan, through a socket that the command listens at, before it declares anything:
so what the command then shows of nodes, and why they change, is what it shows of a spec's. Plans hold secrets and go
nowhere else. A program that plain ``pulumi`` runs has no order, and answers nobody.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fleet.errors import FleetError, release
from fleet.plan import FleetPlan, NodePlan
from fleet.program.changes import Compared

VARIABLE = "FLEET_COMMAND"
"""The environment variable that holds the order."""
_DONE = b"+"
"""What the command says when it has read an answer."""


@dataclass(frozen=True)
class Order:
    """What a command asks of a program.

    Attributes:
        command: As :attr:`fleet.plan.PastRollout.command`.
        run: As :attr:`fleet.plan.Change.run`.
        socket: The path of the socket at which the command listens.
        release: The release of the command's fleet, as :func:`fleet.errors.release` has it.
        new_image: Nodes are to be re-provisioned if the lock has another image for them.
        fleet: The fleet that the command is about; empty: all of them.
        node: The only node of that fleet to touch; empty: all of them.
        new_config: As the program has it; else only as it is deployed.
    """

    command: str
    run: str
    socket: str
    release: str
    new_image: bool = False
    fleet: str = ""
    node: str = ""
    new_config: bool = False

    @classmethod
    def current(cls) -> Order | None:
        """The order of the command that runs this program; ``None``: no command of fleet's does.

        Raises:
            FleetError: The command is of another release, whose orders may say what this one does not know.
        """
        text = os.environ.get(VARIABLE)
        if not text:
            return None
        values = json.loads(text)
        if (other := values.get("release")) != release():
            raise FleetError(
                f"This program has fleet{release()} in its virtual environment, and the command that runs it is of "
                f"fleet{other or ' of an unknown release'}.",
                fix="Run the `fleet` of the program's own virtual environment, or install the same release there.",
            )
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """The environment variables that a program gets it by."""
        return {VARIABLE: json.dumps(asdict(self))}

    def only(self, fleet: str) -> frozenset[str] | None:
        """The nodes of a fleet that may be touched; ``None``: all.

        Args:
            fleet: The fleet's name in the program.
        """
        if not self.node:
            return None
        return frozenset([self.node] if fleet == self.fleet else [])


@dataclass(frozen=True)
class Answer:
    """What a fleet of a program answers.

    Attributes:
        fleet: Its name in the program; empty: it is the one of the project's spec.
        platform: Its platform's name.
        options: Its platform's options.
        plan: Its plan, as it is about to be declared.
    """

    fleet: str
    platform: str
    options: Mapping[str, Any]
    plan: FleetPlan


def tell(order: Order, answer: Answer) -> None:
    """Tell the command what is planned, and wait until it knows.

    Args:
        order: What was asked.
        answer: The answer.

    Raises:
        FleetError: The command listens no more.
    """
    # Errors about secrets are not for others; in what is to be deployed there are none.
    plan = answer.plan.with_nodes(lambda node: replace(node, unread=(), unasked=()))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(order.socket)
            connection.sendall(pickle.dumps(replace(answer, plan=plan)))
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1) == _DONE:
                return
    except OSError:
        pass
    raise FleetError("The `fleet` command that runs this program has ended.", fix="Run it again.")


def ordered(order: Order, fleet: str, plan: FleetPlan, compared: Compared) -> FleetPlan:
    """A plan as an order wants it.

    Args:
        order: The order.
        fleet: The fleet's name in the program.
        plan: Its plan.
        compared: Its nodes in the state.

    Raises:
        FleetError: One node is to be re-provisioned as it is deployed, and the program has it otherwise by now.
    """
    if not order.node:
        return plan

    def wanted(node: NodePlan) -> NodePlan:
        if fleet != order.fleet or node.name != order.node:
            return node
        if not order.new_config and compared.differs(node):
            raise FleetError(
                f"Node {node.name} cannot be re-provisioned as it is deployed: the program has it otherwise by now.",
                fix="`fleet replace --new-config` gives it what the program has, `fleet up` gives it to all nodes.",
            )
        return replace(node, reprovision=True)

    # What the program has added since is no peer yet, nor is it made here.
    return plan.only(compared.known).with_nodes(wanted)


def read(connection: socket.socket) -> Answer:
    """Read an answer.

    Args:
        connection: One that a program has made: the socket is in a folder that nobody else can enter.

    Raises:
        OSError: It was cut off.
        FleetError: It has what this installation does not know, such as a class of the program's own.
    """
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    try:
        answer: Answer = pickle.loads(b"".join(pieces))
    except (EOFError, pickle.UnpicklingError) as error:
        raise OSError(str(error)) from None
    except Exception as error:
        # What an answer holds may be a secret, but no name of a module or class is.
        what = f": {error}" if isinstance(error, ImportError | AttributeError) else ""
        raise FleetError(
            f"What a fleet of the program plans cannot be read by this command, which runs with other packages "
            f"({type(error).__name__}{what}).",
            fix="Run the `fleet` of the program's own virtual environment, and give fleets plain texts, numbers and "
            "booleans as options.",
        ) from None
    return answer


def confirm(connection: socket.socket) -> None:
    """Let the program go on."""
    connection.sendall(_DONE)
