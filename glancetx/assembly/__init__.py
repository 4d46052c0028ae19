"""How the parts of a service that settings choose between are built: one module for each choice.

`app.py` calls these functions, once each. What is heavy and seldom chosen (object stores, Keystone, RabbitMQ) is
imported when it is chosen, so that a small service stays small.
"""
