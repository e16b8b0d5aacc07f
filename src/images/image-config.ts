import { isDigest, EMPTY_DIFF_ID, type DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import { parseJson } from '../json.js'

/**
 * An image's config: the OCI image configuration as Docker writes it. The sha256 of its raw bytes is the image ID, so a
 * config from elsewhere is stored as bytes, and this is its parsed form. Fields that this library does not use pass
 * through.
 */
export interface ImageConfig {
  /** The CPU, by Go's name: `amd64`, `arm64`. */
  readonly architecture?: string
  /** The operating system: `linux`. */
  readonly os?: string
  /** The variant of the CPU: `v7` of `arm`. */
  readonly variant?: string
  /** When the image was made, in RFC 3339. */
  readonly created?: string
  /** Who made the image. */
  readonly author?: string
  /** Settings that a container of the image starts with. */
  readonly config?: ContainerConfig
  /** The DiffIDs of the layers, lowest first. */
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly DiffID[] }
  /** The steps that made the image, oldest first. */
  readonly history?: readonly HistoryEntry[]
  /** Fields that this library does not use. */
  readonly [field: string]: unknown
}

/** A step that made an image. */
export interface HistoryEntry {
  /** When the step was made, in RFC 3339. */
  readonly created?: string
  /** The command of the step. */
  readonly created_by?: string
  /** Who made the step. */
  readonly author?: string
  /** A remark, such as the message of a commit. */
  readonly comment?: string
  /** Whether the step made no layer. @default false */
  readonly empty_layer?: boolean
}

/**
 * Settings that a container of the image starts with: `config` of the image config. The fields and their names are
 * those of the OCI image-spec and of Docker. This library stores them and does not run containers.
 */
export interface ContainerConfig {
  /** User or UID, with an optional group: `daemon`, `1000:1000`. */
  readonly User?: string
  /** Ports, as keys: `80/tcp`. The values are empty objects. */
  readonly ExposedPorts?: Readonly<Record<string, object>>
  /** Environment variables: `NAME=value`. */
  readonly Env?: readonly string[]
  /** The command that `Cmd` is appended to. */
  readonly Entrypoint?: readonly string[] | null
  /** The default command, or the default arguments of `Entrypoint`. */
  readonly Cmd?: readonly string[] | null
  /** Paths of volumes, as keys. The values are empty objects. */
  readonly Volumes?: Readonly<Record<string, object>>
  /** The working directory: an absolute path. */
  readonly WorkingDir?: string
  /** Labels by name. */
  readonly Labels?: Readonly<Record<string, string>>
  /** The signal that stops the container: `SIGTERM`. */
  readonly StopSignal?: string
  /** The shell of commands that are given as text. @default `/bin/sh -c` */
  readonly Shell?: readonly string[]
  /** Instructions for builds that are based on the image. */
  readonly OnBuild?: readonly string[]
  /** How Docker checks the health of a container. */
  readonly Healthcheck?: object
  /** Fields that this library does not know. */
  readonly [field: string]: unknown
}

/**
 * Parses a config. Throws `CONFIG_INVALID` if it is not a JSON object, or its list of layers or its history is
 * malformed, or its history describes more layers than `rootfs.diff_ids` lists.
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const config = parseObject(bytes)
  const diffIds = (config['rootfs'] as { diff_ids?: unknown } | undefined)?.diff_ids ?? []
  if (!Array.isArray(diffIds) || !diffIds.every(isDigest))
    throw invalid('rootfs.diff_ids is not a list of sha256 digests')
  const history = config['history'] ?? []
  if (!Array.isArray(history)) throw invalid('history is not a list')
  const layers = history.filter((entry: HistoryEntry | null) => entry?.empty_layer !== true).length
  if (layers > diffIds.length)
    throw invalid(`history lists ${layers} layers, but rootfs.diff_ids lists ${diffIds.length}`)
  return { ...config, rootfs: { type: 'layers', diff_ids: diffIds as DiffID[] } }
}

export interface ChildStep {
  /** Absent if the step changed only the config. */
  readonly diffId?: DiffID
  readonly config: ContainerConfig
  readonly created: string
  readonly createdBy: string
  readonly author?: string | undefined
  readonly comment?: string | undefined
}

/** Returns the config of an image that adds one step to `parent`, as `docker commit` writes it. */
export function childConfig(parent: ImageConfig, step: ChildStep): ImageConfig {
  const empty = step.diffId === undefined || step.diffId === EMPTY_DIFF_ID
  const diffIds = empty ? parent.rootfs.diff_ids : [...parent.rootfs.diff_ids, step.diffId]
  return withHistory(parent, step, [...(parent.history ?? []), historyEntry(step, empty)], diffIds)
}

/** Returns the config of the same image in one layer: keeps old history entries, marked as empty, and adds one. */
export function flattenedConfig(
  parent: ImageConfig,
  step: ChildStep & { readonly diffId: DiffID },
): ImageConfig {
  const old = (parent.history ?? []).map((entry) => ({ ...entry, empty_layer: true }))
  return withHistory(parent, step, [...old, historyEntry(step, false)], [step.diffId])
}

export function encodeConfig(config: ImageConfig): Buffer {
  return Buffer.from(JSON.stringify(config))
}

function withHistory(
  parent: ImageConfig,
  step: ChildStep,
  history: HistoryEntry[],
  diffIds: readonly DiffID[],
): ImageConfig {
  const { container: _container, container_config: _containerConfig, ...inherited } = parent
  return {
    ...inherited,
    ...(step.author !== undefined && { author: step.author }),
    config: step.config,
    created: step.created,
    history,
    rootfs: { type: 'layers', diff_ids: diffIds },
  }
}

function historyEntry(step: ChildStep, empty: boolean): HistoryEntry {
  return {
    created: step.created,
    ...(step.author !== undefined && { author: step.author }),
    created_by: step.createdBy,
    ...(step.comment !== undefined && { comment: step.comment }),
    ...(empty && { empty_layer: true }),
  }
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  try {
    const parsed: unknown = parseJson(Buffer.from(bytes).toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>
  } catch (error) {
    throw invalid('it is not valid JSON', error)
  }
  throw invalid('it is not a JSON object')
}

function invalid(why: string, cause?: unknown): StoreError {
  return new StoreError('CONFIG_INVALID', `invalid image config: ${why}`, { cause })
}
