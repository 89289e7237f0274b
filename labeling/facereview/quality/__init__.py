"""How far annotators are right, how often they agree, how long they take."""
