"""How images are made.

An alternating method imports what it needs from here. In reading order: `rounds` (the loop of
generator and student), `generator` (networks that draw, and training one by itself), `inversion`
and `statistics_matching` (the losses of images that are fitted to the teacher), `inverting` (what
methods of such images have in common), `memory` (pools of images), `augmentation`.

Elsewhere, `pixels` optimises the pixels of images, `activation_records`, `activation_statistics`
and `reconstructions` give the targets of such an optimisation, and `real_images` serves methods
that see real images.
"""

from methods.acceleration.optimizers import Adam as Adam
from methods.acceleration.optimizers import improve as improve
from methods.synthesis.augmentation import Augmentation as Augmentation
from methods.synthesis.augmentation import augmented as augmented
from methods.synthesis.augmentation import unsuitable as unsuitable
from methods.synthesis.generator import draw_latents as draw_latents
from methods.synthesis.generator import drawing_from as drawing_from
from methods.synthesis.generator import pixel_generator as pixel_generator
from methods.synthesis.inversion import BestIterate as BestIterate
from methods.synthesis.inversion import Inversion as Inversion
from methods.synthesis.inversion import target_labels as target_labels
from methods.synthesis.inversion import target_loss as target_loss
from methods.synthesis.inverting import InversionParams as InversionParams
from methods.synthesis.inverting import InvertingMethod as InvertingMethod
from methods.synthesis.inverting import SmoothedInversionParams as SmoothedInversionParams
from methods.synthesis.inverting import inversion_of as inversion_of
from methods.synthesis.memory import Pool as Pool
from methods.synthesis.rounds import AlternatingMethod as AlternatingMethod
from methods.synthesis.rounds import Game as Game
from methods.synthesis.rounds import Terms as Terms
from methods.synthesis.rounds import play as play
from methods.synthesis.rounds import steps_of_a_turn as steps_of_a_turn
