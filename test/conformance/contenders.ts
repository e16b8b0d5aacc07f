import type { ConformanceOptions } from '#layerstack/conformance/index.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { noCalls, noMounts, type Reason } from '../support/needs.js'

export interface Contender extends Omit<ConformanceOptions, 'test'> {
  readonly name: string
  /** Why it cannot run on this machine. */
  readonly reason?: Reason
}

const aside = { attributes: 'override' } as const

/** Every driver, engine and attribute mode. vfs copies whole trees, so 40 layers show as much as 500. */
export const contenders: readonly Contender[] = [
  { name: 'vfs', factory: vfs, depth: 40 },
  { name: 'vfs with attributes kept aside', factory: vfs, driverOptions: aside, depth: 12, reason: noCalls },
  { name: 'overlay2 in userspace', factory: overlay2, engine: 'userspace' },
  {
    name: 'overlay2 in userspace with attributes kept aside',
    factory: overlay2,
    engine: 'userspace',
    driverOptions: aside,
    depth: 128,
    reason: noCalls,
  },
  { name: 'btrfs in userspace', factory: btrfs, engine: 'userspace', depth: 500 },
  {
    name: 'devicemapper in userspace',
    factory: devicemapper,
    engine: 'userspace',
    driverOptions: { 'dm.basesize': '48M', 'dm.loopdatasize': '2G', 'dm.loopmetadatasize': '64M' },
    depth: 128,
  },
  { name: 'overlay2 of the kernel', factory: overlay2, engine: 'kernel', reason: noMounts },
]
