"""A small workflow that the suite registers and runs."""

from flytekit import LaunchPlan, task, workflow


@task
def double(number: int) -> int:
    return number * 2


@task
def describe(number: int) -> str:
    return f"the number is {number}"


@workflow
def pipeline(number: int = 21) -> str:
    return describe(number=double(number=number))


nightly = LaunchPlan.get_or_create(pipeline, name="nightly", default_inputs={"number": 7})
