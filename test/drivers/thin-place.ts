import { existsSync } from 'node:fs'
import { noMounts, notInstalled, type Reason } from '../support/needs.js'

/** `test/run.mjs` runs what is skipped for this in User-Mode Linux, where that is installed. */
export const noThinPools: Reason =
  noMounts ??
  (existsSync('/dev/mapper/control') ? undefined : 'this kernel has no device-mapper') ??
  notInstalled('dmsetup', 'thin_check', 'mkfs.xfs', 'mkfs.ext4')
