/**
 * The store: images, layers and containers in one root. Includes everything of `layerstack/drivers`.
 * @module
 */
import { btrfs } from './drivers/btrfs/index.js'
import { devicemapper } from './drivers/devicemapper/index.js'
import { overlay2 } from './drivers/overlay2/index.js'
import { DriverRegistry } from './drivers/registry.js'
import { vfs } from './drivers/vfs/index.js'
import type { BtrfsOptions } from './drivers/btrfs/options.js'
import type { DeviceMapperOptions } from './drivers/devicemapper/options.js'
import type { Driver } from './drivers/driver.js'
import type { Overlay2Options } from './drivers/overlay2/options.js'
import type { VfsOptions } from './drivers/vfs/options.js'
import { openStoreWith, type OpenOptions } from './open-store.js'
import type { Store } from './store.js'

/** The options of each built-in driver, by the driver's name. */
export interface DriverOptions {
  /** Options of `overlay2`. */
  readonly overlay2: Overlay2Options
  /** Options of `btrfs`. */
  readonly btrfs: BtrfsOptions
  /** Options of `vfs`. */
  readonly vfs: VfsOptions
  /** Options of `devicemapper`. */
  readonly devicemapper: DeviceMapperOptions
}

/** The name of a built-in driver. */
export type DriverName = keyof DriverOptions

/**
 * Which driver a store uses: a built-in driver with its options, `auto`, or an open driver. Options need a named
 * driver.
 */
export type DriverChoice =
  | {
      readonly [Name in DriverName]: {
        readonly driver: Name
        readonly driverOptions?: DriverOptions[Name] | undefined
      }
    }[DriverName]
  | {
      /**
       * `auto` takes the driver that already holds layers in this root, otherwise the first of overlay2, btrfs, vfs and
       * devicemapper that works.
       * @default 'auto'
       */
      readonly driver?: 'auto' | DriverName | Driver | undefined
      readonly driverOptions?: undefined
    }

/** The options of {@link openStore}. */
export type OpenStoreOptions = OpenOptions & DriverChoice

/**
 * Returns a new registry of the built-in drivers, in the order in which `driver: 'auto'` tries them.
 *
 * @example Which engines work on this system
 * ```ts
 * import { builtInDrivers } from 'layerstack'
 *
 * for (const driver of builtInDrivers()) {
 *   const { engines } = await driver.supported('.')
 *   for (const { engine, works, reason } of engines) console.log(driver.name, engine, works ? 'works' : reason)
 * }
 * ```
 */
export function builtInDrivers(): DriverRegistry {
  return new DriverRegistry([overlay2, btrfs, vfs, devicemapper])
}

/**
 * Opens a store on a root, which any number of processes may share. Finishes or clears what ended processes left,
 * unless `readOnly`. The caller must close the store.
 *
 * Rejects with `DRIVER_UNKNOWN` if no driver has the name, with `DRIVER_UNSUPPORTED` if `auto` finds no driver that
 * works, with `ENGINE_UNSUPPORTED` if the engine or an option does not work on this system or in this root, with
 * `STORE_FOREIGN` if the root has another format, and with a `TypeError` for an option that the driver does not know.
 *
 * @example
 * ```ts
 * import { openStore } from 'layerstack'
 *
 * await using store = await openStore({ root: 'layers' })
 * const [image] = await store.load('image.tar')
 * ```
 *
 * @example A driver with its options
 * ```ts
 * import { openStore } from 'layerstack'
 *
 * await using store = await openStore({
 *   root: 'layers',
 *   driver: 'devicemapper',
 *   engine: 'userspace',
 *   driverOptions: { 'dm.basesize': '20G' },
 * })
 * ```
 */
export function openStore(options: OpenStoreOptions): Promise<Store> {
  return openStoreWith(builtInDrivers(), options)
}

export * from './drivers/index.js'
export type { ArchiveInput } from './archives/archive-files.js'
export type { CheckOptions } from './archives/check-store.js'
export type { LoadOptions } from './archives/load-images.js'
export type { ArchiveFormat } from './archives/save.js'
export type { SaveOptions } from './archives/save-references.js'
export type { CheckReport } from './catalog/check.js'
export type { CatalogCheckOptions, Problem, ProblemKind } from './catalog/repair.js'
export type { CreateContainerOptions } from './catalog/containers.js'
export type { ContainerUsage, DiskUsage, ImageUsage } from './catalog/disk-usage.js'
export type { FlattenOptions, ImportOptions } from './catalog/make-image.js'
export type { Pruned, PruneOptions } from './catalog/prune.js'
export type { Removed } from './catalog/removal.js'
export type { Compression } from './compression/compression.js'
export type { CommitContainerOptions, Container, ContainerInfo } from './containers/container.js'
export type { ChainID } from './digest.js'
export type { AttributeOptions } from './drivers/attribute-mode.js'
export type { BtrfsOptions } from './drivers/btrfs/options.js'
export type { DeviceMapperOptions, FileSystemType } from './drivers/devicemapper/options.js'
export type { MountFlag, MountOptions } from './drivers/mount-flags.js'
export type { Overlay2Options } from './drivers/overlay2/options.js'
export type { Refusal } from './drivers/select.js'
export type { VfsOptions } from './drivers/vfs/options.js'
export type { ContainerConfig, HistoryEntry, ImageConfig } from './images/image-config.js'
export type { Image, InspectedImage } from './images/image.js'
export type { Limits } from './limits.js'
export type { OpenOptions } from './open-store.js'
export type { Store } from './store.js'
