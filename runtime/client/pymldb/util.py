"""The name under which 0.8.1 offered the display of answers in notebooks."""

from .html import with_html as add_repr_html_to_response

__all__ = ["add_repr_html_to_response"]
