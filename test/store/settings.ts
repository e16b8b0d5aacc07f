import { tmpdir } from 'node:os'
import type { DriverChoice, OpenOptions } from '#layerstack/index.js'
import { probe } from '#layerstack/sys/probe.js'
import { noBtrfs } from '../drivers/btrfs-fixture.js'
import type { Reason } from '../support/needs.js'

/** The options of `openStore` but the root. */
export type DriverSettings = DriverChoice & Pick<OpenOptions, 'engine'>

export type StoreSettings = DriverSettings & {
  readonly name: string
  /** Why it cannot run on this host. */
  readonly reason?: Reason
}

/** Every driver and engine that a store can be opened with on any file system. */
export const storeSettings: readonly StoreSettings[] = [
  { name: 'vfs', driver: 'vfs' },
  { name: 'overlay2 in userspace', driver: 'overlay2', engine: 'userspace' },
  { name: 'btrfs in userspace', driver: 'btrfs', engine: 'userspace' },
  {
    name: 'devicemapper in userspace',
    driver: 'devicemapper',
    engine: 'userspace',
    driverOptions: { 'dm.basesize': '1G', 'dm.loopdatasize': '2G', 'dm.loopmetadatasize': '64M' },
  },
  { name: 'overlay2 of the kernel', driver: 'overlay2', engine: 'kernel', reason: noOverlay() },
  {
    name: 'btrfs of the kernel, in a file',
    driver: 'btrfs',
    engine: 'kernel',
    driverOptions: { loopback: { size: '1G' } },
    reason: noBtrfs,
  },
]

/** The options of `openStore` for these settings. */
export function optionsOf({ driver, engine, driverOptions }: DriverSettings): DriverSettings {
  return { driver, engine, driverOptions } as DriverSettings
}

function noOverlay(): Reason {
  const { overlay } = probe(tmpdir())
  return overlay.works ? undefined : overlay.reason
}
