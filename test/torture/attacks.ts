import type { Attack } from './attack.js'
import { crashImages } from './crash-images.js'
import { crowd } from './crowd.js'
import { damage } from './damage.js'
import { formatsAttack } from './formats.js'
import { fullDisk } from './full-disk.js'
import { kills } from './kill.js'
import { hostileArchivesAttack } from './hostile-archives.js'
import { missedWrites } from './missed-writes.js'
import { neighbours } from './neighbours.js'
import { swappers } from './swapper.js'

/** All attacks, in the order in which they run. */
export const attacks: readonly Attack[] = [
  ...crashImages,
  ...crowd,
  ...damage,
  formatsAttack,
  ...fullDisk,
  hostileArchivesAttack,
  ...kills,
  ...missedWrites,
  ...neighbours,
  ...swappers,
]
