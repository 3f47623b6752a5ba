"""Workers on a scheduler that somebody has already: Slurm, Kubernetes or Ray.

What is submitted is a number of identical commands `caviar join STUDY`, which know nothing of one another. The
scheduler may end, move and restart each of them as it likes: the leases in the database keep the budget exact.

    request      what is asked for: how many workers, and what each has
    site         what is the same for every study at a site: partition, image, how an environment is activated
    scheduler    what each of the three can do: write a request down, submit it, list its tasks, stop it
    submissions  what was submitted for a study, as events of its history
"""
