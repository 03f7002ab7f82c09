"""A small web application, such as people bring to s2ictl."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def greet() -> str:
    return "Hello from Python, built by s2ictl without a Dockerfile.\n"
