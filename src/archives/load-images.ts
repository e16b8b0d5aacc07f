import type { Catalog, NewImage } from '../catalog/catalog.js'
import { removeUnusedLayers } from '../catalog/removal.js'
import { chainIds } from '../digest.js'
import { makeStoreDirectory } from '../durable/make-directory.js'
import type { Image } from '../images/image.js'
import { parsePlatform } from '../images/platform.js'
import { resolveLimits, type Limits } from '../limits.js'
import type { OperationOptions } from '../operation-options.js'
import { parseReference, withDefaultTag } from '../references/reference.js'
import { checkArchiveInput, type ArchiveInput } from './archive-files.js'
import type { ArchivedImage } from './archived-image.js'
import { loadLayers } from './load.js'
import { readImages } from './manifest.js'
import { openArchive } from './open-archive.js'

/** Options of {@link Store.load}. */
export interface LoadOptions extends OperationOptions {
  /**
   * Which image to take of an OCI index that has one for several platforms: `linux/arm64`, `linux/arm/v7`. A
   * `TypeError` if it is not of this form.
   * @default the machine's, else the only one that the archive holds
   */
  readonly platform?: string | undefined
  /**
   * What the archive may ask of this process. The archive states its own sizes and digests, so only these limits bound
   * its work. @default the defaults of {@link Limits}
   */
  readonly limits?: Limits | undefined
}

/** Loads all images of an archive, or none. */
export async function loadImages(
  catalog: Catalog,
  input: ArchiveInput,
  options: LoadOptions,
): Promise<Image[]> {
  checkArchiveInput(input)
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
  const { signal } = options
  const limits = resolveLimits(options.limits)
  makeStoreDirectory(catalog.temporary, 0o700)
  await using files = await openArchive(input, catalog.temporary, { limits, signal })
  const archived = await readImages(files, { platform, limits, signal })
  const images = archived.map(newImage)
  const chains = archived.map(({ config }) => chainIds(config.rootfs.diff_ids))
  try {
    await using _pin = await catalog.layers.pin(chains.flat())
    await loadLayers(catalog.layers, files, archived, { ...options, limits })
    return await catalog.publish(images, options)
  } catch (error) {
    await catalog.lockedRemoval(async (detached) => {
      for (const chain of chains) await removeUnusedLayers(catalog, chain, detached)
    })
    signal?.throwIfAborted()
    throw error
  }
}

function newImage({ configBytes, references }: ArchivedImage): NewImage {
  return {
    config: configBytes,
    references: references.map((text) => withDefaultTag(parseReference(text))),
  }
}
