import type { DriverSettings } from '../store/settings.js'
import { noBtrfs } from '../drivers/btrfs-fixture.js'
import { noCalls, noMounts, noRoot, type Reason } from '../support/needs.js'

/** A driver with the options of a store. */
export interface Configuration {
  readonly name: string
  readonly options: DriverSettings
  /** Why this machine cannot run it. */
  readonly reason?: Reason
  readonly onBtrfs?: true
}

const USERSPACE = { driver: 'overlay2', engine: 'userspace' } as const

/** Each driver, engine and way of storing attributes. */
export const configurations: readonly Configuration[] = [
  { name: 'vfs', options: { driver: 'vfs' }, reason: noRoot },
  {
    name: 'vfs, sidecar attributes',
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
