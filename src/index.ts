import { btrfs } from './drivers/btrfs/index.js'
import { devicemapper } from './drivers/devicemapper/index.js'
import { overlay2 } from './drivers/overlay2/index.js'
import { DriverRegistry } from './drivers/registry.js'
import { vfs } from './drivers/vfs/index.js'
import { openStoreWith, type OpenStoreOptions } from './open-store.js'
import type { Store } from './store.js'

/** Returns the built-in drivers, in the order in which `driver: 'auto'` tries them. */
export function builtInDrivers(): DriverRegistry {
  return new DriverRegistry([overlay2, btrfs, vfs, devicemapper])
}

/**
 * Opens a store. The caller must close it.
 *
 * @example
 * ```ts
 * import { openStore } from 'layerstack'
 *
 * await using store = await openStore({ root: 'layers' })
 * const [image] = await store.load('image.tar')
 * ```
 */
export function openStore(options: OpenStoreOptions): Promise<Store> {
  return openStoreWith(builtInDrivers(), options)
}

export type { CheckOptions } from './archives/check-store.js'
export type { LoadOptions } from './archives/load-images.js'
export type { ArchiveFormat } from './archives/save.js'
export type { SaveOptions } from './archives/save-references.js'
export type { Compression } from './compression/compression.js'
export type { CheckReport } from './catalog/check.js'
export type { Problem } from './catalog/repair.js'
export type { CreateContainerOptions } from './catalog/containers.js'
export type { FlattenOptions, ImportOptions } from './catalog/make-image.js'
export type { ContainerUsage, DiskUsage, ImageUsage } from './catalog/disk-usage.js'
export type { Pruned, PruneOptions } from './catalog/prune.js'
export type { Removed } from './catalog/removal.js'
export type { CommitContainerOptions, Container, ContainerInfo } from './containers/container.js'
export type { ChainID, DiffID, Digest, ImageID } from './digest.js'
export type {
  Change,
  CreateOptions,
  DiffOptions,
  Driver,
  DriverCapabilities,
  Engine,
  GetOptions,
  LayerView,
  ProtoDriver,
  ReadWriteOptions,
} from './drivers/driver.js'
export type { DriverFactory, DriverOpenOptions, DriverSupport } from './drivers/factory.js'
export { naiveDiff } from './drivers/naive-diff.js'
export { DriverRegistry } from './drivers/registry.js'
export type { AttributeMode } from './fs/spec.js'
export type { BtrfsOptions } from './drivers/btrfs/options.js'
export type { DeviceMapperOptions } from './drivers/devicemapper/options.js'
export type { MountFlag } from './drivers/mount-flags.js'
export type { Overlay2Options } from './drivers/overlay2/options.js'
export { StoreError, type StoreErrorCode } from './errors.js'
export type { LayerFileHandle, LayerFs } from './fs/facade/layer-fs.js'
export { HostFs } from './fs/host/host-fs.js'
export { layerFs } from './fs/facade/layer-fs-adapter.js'
export type { HistoryEntry, ImageConfig } from './images/image-config.js'
export type { Image, InspectedImage } from './images/image.js'
export type { Layer, WritableLayer } from './layers/layer.js'
export type { Limits } from './limits.js'
export type { OperationOptions } from './operation-options.js'
export type { ProgressEvent } from './progress.js'
export type { OpenStoreOptions } from './open-store.js'
export type { Store } from './store.js'
