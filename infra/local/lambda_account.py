"""How many functions an account may run at a time."""

import functools
from collections.abc import Callable

import hooks
from hooks import Answer, Json
from ministack.core import responses
from ministack.services import lambda_svc

# What AWS keeps unreserved, or the whole limit where that is less: a new account's is 10.
UNRESERVED = 100


def install(limit: int) -> None:
    parameters = ["func_name", "data"]
    hooks.patch(lambda_svc, "_put_function_concurrency", parameters, functools.partial(within_limit, limit))
    hooks.patch(lambda_svc, "_get_account_settings", [], functools.partial(telling_limit, limit))


def reserved(but: str = "") -> int:
    functions = lambda_svc._functions
    return sum(int(functions[name].get("concurrency") or 0) for name in list(functions) if name != but)


def within_limit(limit: int, original: Callable[[str, Json], Answer]) -> Callable[[str, Json], Answer]:
    """AWS refuses a reservation that leaves too little to all other functions; MiniStack takes any."""

    def put_function_concurrency(func_name: str, data: Json) -> Answer:
        minimum = min(limit, UNRESERVED)
        if limit - reserved(but=func_name) - int(data.get("ReservedConcurrentExecutions", 0)) < minimum:
            return responses.error_response_json(
                "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{minimum}].",
                400,
            )
        return original(func_name, data)

    return put_function_concurrency


def telling_limit(limit: int, original: Callable[[], Answer]) -> Callable[[], Answer]:
    """The account's own limit, which MiniStack makes of the memory of this machine."""

    def get_account_settings() -> Answer:
        status, headers, body = original()
        settings = responses.json.loads(body)
        settings["AccountLimit"]["ConcurrentExecutions"] = limit
        settings["AccountLimit"]["UnreservedConcurrentExecutions"] = limit - reserved()
        return responses.json_response(settings, status)

    return get_account_settings
