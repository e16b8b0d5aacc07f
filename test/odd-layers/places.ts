import type { DriverSettings } from '../store/settings.js'
import { noBtrfs } from '../drivers/btrfs-fixture.js'
import { noCalls, noMounts, type Reason } from '../support/needs.js'

export interface Place {
  readonly name: string
  readonly options: DriverSettings
  /** Why it cannot be tried here. */
  readonly reason?: Reason
  readonly onBtrfs?: true
}

const noRoot: Reason = process.getuid?.() === 0 ? undefined : 'an ordinary user cannot give files away'
const USERSPACE = { driver: 'overlay2', engine: 'userspace' } as const

/** Each driver, each engine, and each way of keeping attributes. */
export const places: readonly Place[] = [
  { name: 'vfs', options: { driver: 'vfs' }, reason: noRoot },
  {
    name: 'vfs, attributes beside',
    options: { driver: 'vfs', driverOptions: { attributes: 'sidecar' } },
  },
  { name: 'overlay2, userspace', options: USERSPACE, reason: noRoot },
  {
    name: 'overlay2, userspace, attributes in xattrs',
    options: { ...USERSPACE, driverOptions: { attributes: 'override' } as const },
    reason: noCalls,
  },
  { name: 'btrfs, userspace', options: { driver: 'btrfs', engine: 'userspace' } },
  { name: 'overlay2, kernel', options: { driver: 'overlay2', engine: 'kernel' }, reason: noMounts },
  {
    name: 'btrfs, kernel',
    options: { driver: 'btrfs', engine: 'kernel' },
    reason: noBtrfs,
    onBtrfs: true,
  },
]
