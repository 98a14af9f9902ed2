"""How images are made.

`generator` trains one and draws from it, `pixels` optimises the pixels of images,
`activation_records`, `activation_statistics` and `reconstructions` give the targets of such an
optimisation, `real_images` and `augmentation` serve methods that see real images.
"""
