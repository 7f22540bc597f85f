"""The admin listener: health, metrics, reports and reload for operators. The only place for
Starlette.
"""
