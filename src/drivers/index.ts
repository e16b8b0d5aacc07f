/**
 * What the author of a storage driver needs: the contract, `naiveDiff`, which completes a `ProtoDriver`, and a `LayerFs`
 * over a directory.
 *
 * @example A driver's view of a directory
 * ```ts
 * import { HostFs, layerFs, type LayerView } from 'layerstack/drivers'
 *
 * function viewOf(directory: string): LayerView {
 *   return { fs: layerFs(new HostFs({ kind: 'host', root: directory })), hostPath: directory }
 * }
 * ```
 * @module
 */
export type { DiffID, Digest, ImageID } from '../digest.js'
export { StoreError, type StoreErrorCode, type StoreErrorOptions } from '../errors.js'
export type { ByteString, PathLike } from '../fs/bytes.js'
export { layerFs } from '../fs/facade/layer-fs-adapter.js'
export type {
  FileData,
  LayerBigIntStats,
  LayerDirent,
  LayerFileHandle,
  LayerFs,
  LayerStats,
  Mode,
  PieceOptions,
  ReadStreamOptions,
  StatsOf,
  TimeLike,
  WriteOptions,
  WriteStreamOptions,
} from '../fs/facade/layer-fs.js'
export { HostFs } from '../fs/host/host-fs.js'
export type { AttributeMode, HostFsSpec, SyncFsSpec, UnionFsSpec } from '../fs/spec.js'
export type {
  Comparison,
  DeviceNumber,
  FileType,
  SyncDirent,
  SyncFile,
  SyncFs,
  SyncStat,
  TreeChange,
} from '../fs/sync-fs.js'
export type { OperationOptions } from '../operation-options.js'
export type { ProgressEvent, ProgressListener } from '../progress.js'
export type { ApplyTarget } from '../tar/apply.js'
export type { CompareSource, DiffSource, OpenTrees, OverlaySource, SnapshotSource } from '../tar/diff.js'
export type {
  Change,
  CreateOptions,
  Damage,
  DiffOptions,
  DiffTrees,
  Driver,
  DriverCapabilities,
  DriverInfo,
  Engine,
  GetOptions,
  LayerView,
  ProtoDriver,
  ReadWriteOptions,
} from './driver.js'
export type { DriverFactory, DriverOpenOptions, DriverSupport, EngineSupport } from './factory.js'
export { checkLayerId } from './layer-id.js'
export { naiveDiff, type FastPaths } from './naive-diff.js'
export { DriverRegistry } from './registry.js'
