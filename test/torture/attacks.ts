import type { Attack } from './attack.js'
import { crashImages } from './crash-images.js'

/** All attacks, in the order in which they run. */
export const attacks: readonly Attack[] = [...crashImages]
