"""An empty FastAPI route: what a request costs at the least.

python empty.py PORT
"""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/")
async def empty() -> None:
    """Answer with nothing."""


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
