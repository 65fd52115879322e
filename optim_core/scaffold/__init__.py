"""`optim-core new-pack`: the folder of a new pack, which installs and passes its tests and lint as it is.

One module, one idea:

    naming      the names of a pack, which follow from one; those that it cannot have
    licensing   an SPDX expression, and the text of its licence
    existing    what there is to say of a class that exists already
    render      from these to the files, all of them or none
    command     the click command

`templates/` holds the files. :func:`optim_core.scaffold.render.new_pack` is the command without the command line.
"""
