"""How many finished trials it takes to say something of a search. Nothing is loaded for that."""

FEW = 10  # with fewer, the best value is as good a guess as what a model expects
MANY = 20  # with fewer, the model says little but its prior: nobody knows what more trials would bring
