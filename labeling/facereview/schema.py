"""The attributes that people may be asked about, as `params.yaml` spells them."""

from dataclasses import dataclass

from facestore.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeField:
    """One attribute and the values it may have, in the order in which they are shown."""

    name: str  # snake_case: what decisions carry
    title: str  # what annotators read
    values: tuple[str, ...]  # snake_case, at least 2, shown with blanks for underscores


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeSchema:
    """Raises ConfigError for names or values that repeat, or a field with fewer than two values."""

    fields: tuple[AttributeField, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        for field in self.fields:
            if len(set(field.values)) != len(field.values) or len(field.values) < 2:
                raise ConfigError(f"attribute {field.name} needs two or more different values; found {field.values}")
        if len(set(names)) != len(names):
            raise ConfigError(f"an attribute is named twice among {', '.join(names)}; give each a name of its own")

    def allows(self, name: str, value: str) -> bool:
        return any(field.name == name and value in field.values for field in self.fields)
