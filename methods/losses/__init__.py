"""Every published loss term as a pure function: of predictions, of images, of features."""

from methods.losses.adversarial import bounded_disagreement_loss as bounded_disagreement_loss
from methods.losses.adversarial import disagreement_loss as disagreement_loss
from methods.losses.adversarial import logit_distance_loss as logit_distance_loss
from methods.losses.adversarial import masked_disagreement_loss as masked_disagreement_loss
from methods.losses.features import activation_loss as activation_loss
from methods.losses.features import adapter_loss as adapter_loss
from methods.losses.features import affinity_loss as affinity_loss
from methods.losses.features import attention_loss as attention_loss
from methods.losses.features import hint_loss as hint_loss
from methods.losses.features import pairwise_loss as pairwise_loss
from methods.losses.images import batch_norm_statistics_loss as batch_norm_statistics_loss
from methods.losses.images import diversity_seeking_loss as diversity_seeking_loss
from methods.losses.images import gaussian_statistics_loss as gaussian_statistics_loss
from methods.losses.images import mode_seeking_loss as mode_seeking_loss
from methods.losses.images import total_variation as total_variation
from methods.losses.predictions import class_similarity as class_similarity
from methods.losses.predictions import competition_loss as competition_loss
from methods.losses.predictions import dirichlet_concentration as dirichlet_concentration
from methods.losses.predictions import entropy_loss as entropy_loss
from methods.losses.predictions import increment_penalty as increment_penalty
from methods.losses.predictions import information_entropy_loss as information_entropy_loss
from methods.losses.predictions import kd_loss as kd_loss
from methods.losses.predictions import label_loss as label_loss
from methods.losses.predictions import one_hot_loss as one_hot_loss
from methods.losses.predictions import pixelwise_loss as pixelwise_loss
from methods.losses.predictions import weighted_diversity_loss as weighted_diversity_loss
