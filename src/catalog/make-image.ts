import type { CommitContainerOptions } from '../containers/container.js'
import type { ContainerRecord } from '../containers/container-store.js'
import { chainIds, type DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import { applyChanges } from '../images/config-change.js'
import {
  childConfig,
  encodeConfig,
  flattenedConfig,
  parseImageConfig,
  type ImageConfig,
} from '../images/image-config.js'
import type { Image } from '../images/image.js'
import { machinePlatform } from '../images/platform.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import type { OnPinned } from '../layers/make-layer.js'
import { resolveLimits, type Limits } from '../limits.js'
import type { OperationOptions } from '../operation-options.js'
import { parseReference, withDefaultTag, type Reference } from '../references/reference.js'
import { sourceDate } from '../source-date.js'
import type { Catalog, NewImage } from './catalog.js'
import { removeUnusedLayers } from './removal.js'

/** Options of {@link Store.import}. */
export interface ImportOptions extends OperationOptions {
  /** A reference for the new image, by default with the tag `latest`. @default none */
  readonly reference?: string | undefined
  /**
   * Edits of the config in Dockerfile syntax: `CMD ["/bin/sh"]`, `ENV A=b` … Allowed are CMD, ENTRYPOINT, ENV, EXPOSE,
   * LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
   * @default none
   */
  readonly config?: readonly string[] | undefined
  /** The comment of the image's history entry. @default 'Imported from -', as Docker writes it */
  readonly message?: string | undefined
  /** What the tar may ask of this process. @default the defaults of {@link Limits} */
  readonly limits?: Limits | undefined
}

/** Options of {@link Store.flatten}. */
export interface FlattenOptions extends OperationOptions {
  /** A reference for the new image, by default with the tag `latest`. @default none */
  readonly reference?: string | undefined
}

/** Makes an image of one layer, unpacked from a root filesystem's tar. */
export function importImage(catalog: Catalog, source: ByteSource, options: ImportOptions): Promise<Image> {
  const edited = applyChanges({}, options.config ?? [])
  const references = referencesOf(options)
  const limits = resolveLimits(options.limits)
  const empty: ImageConfig = {
    architecture: machinePlatform().architecture,
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [] },
  }
  return publishMade(catalog, options, async (onPinned) => {
    const layer = await catalog.layers.register(source, { ...options, limits, onPinned })
    const config = childConfig(empty, {
      diffId: layer.diffId,
      config: edited,
      created: now(),
      createdBy: '',
      comment: options.message ?? 'Imported from -',
    })
    return { config: encodeConfig(config), references }
  })
}

/** Makes an image of one layer, with the same config, of all layers of another. */
export async function flattenImage(
  catalog: Catalog,
  referenceOrId: string,
  options: FlattenOptions,
): Promise<Image> {
  const references = referencesOf(options)
  const parent = await catalog.image(referenceOrId)
  const { chainId } = parent
  if (chainId === undefined) throw new StoreError('LAYER_MISSING', `image ${parent.id} has no layers`)
  return publishMade(catalog, options, async (onPinned) => {
    const layer = await catalog.layers.flatten(chainId, { ...options, onPinned })
    const config = flattenedConfig(parent.config, {
      diffId: layer.diffId,
      config: parent.config.config ?? {},
      created: now(),
      createdBy: '',
      comment: `flattened ${parent.layers.length} layers of ${parent.id}`,
    })
    return { config: encodeConfig(config), references }
  })
}

/** Makes an image of a container, which stays. */
export async function commitContainer(
  catalog: Catalog,
  record: ContainerRecord,
  options: CommitContainerOptions,
): Promise<Image> {
  const imageOf = await committedImage(catalog, record, options)
  return publishMade(catalog, options, async (onPinned) =>
    imageOf(await catalog.layers.commits.commit(record.id, { ...options, onPinned })),
  )
}

/** Describes the image of a commit, given its layer. */
export async function committedImage(
  { images }: Catalog,
  record: ContainerRecord,
  options: CommitContainerOptions,
): Promise<(layer: { readonly diffId: DiffID }) => NewImage> {
  const parent = await images.config(record.image)
  const edited = applyChanges(parent.config ?? {}, options.config ?? [])
  const references = referencesOf(options)
  return ({ diffId }) => {
    const config = childConfig(parent, {
      diffId,
      config: edited,
      created: now(),
      createdBy: '',
      author: options.author,
      comment: options.message,
    })
    return { config: encodeConfig(config), references, parent: record.image }
  }
}

/** Stores the image of a layer that `make` makes and pins. If that fails, the layer is removed: no image would name it. */
async function publishMade(
  catalog: Catalog,
  options: OperationOptions,
  make: (onPinned: OnPinned) => Promise<NewImage>,
): Promise<Image> {
  const pins: AsyncDisposable[] = []
  let made: NewImage | undefined
  try {
    made = await make((pin) => pins.push(pin))
    const [image] = await catalog.publish([made], options)
    return image as Image
  } catch (error) {
    await unpin(pins)
    if (made !== undefined) {
      const chain = chainIds(parseImageConfig(made.config).rootfs.diff_ids)
      await catalog.lockedRemoval((detached) => removeUnusedLayers(catalog, chain, detached))
    }
    throw error
  } finally {
    await unpin(pins)
  }
}

async function unpin(pins: AsyncDisposable[]): Promise<void> {
  for (const pin of pins.splice(0)) await pin[Symbol.asyncDispose]()
}

function referencesOf({ reference }: { readonly reference?: string | undefined }): Reference[] {
  return reference === undefined ? [] : [withDefaultTag(parseReference(reference))]
}

/** RFC 3339. `SOURCE_DATE_EPOCH`, if set, replaces the clock. */
export function now(): string {
  return (sourceDate() ?? new Date()).toISOString()
}
