"""How the rooms of a service are built: a module for each choice that settings make, and a builder for each floor.

`app.py` calls them, once each. Builders take what they need of the `Ground`; rooms get plain arguments and know
neither. What is heavy and seldom chosen (object stores, Keystone, RabbitMQ) is
imported when it is chosen, so that a small service stays small.
"""
