import type { Disagreement } from './disagreement.js'
import { aboutFormats } from './formats.js'
import { aboutLinksAndParents } from './links-and-parents.js'
import { aboutWhiteouts } from './whiteouts.js'

export { disagreement, type Disagreement } from './disagreement.js'
export { reasons } from './reasons.js'
export { taken } from './taken.js'

export const disagreements: readonly Disagreement[] = [
  ...aboutWhiteouts,
  ...aboutLinksAndParents,
  ...aboutFormats,
]
