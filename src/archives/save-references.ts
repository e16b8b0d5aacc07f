import type { Writable } from 'node:stream'
import type { Catalog } from '../catalog/catalog.js'
import type { Compression } from '../compression/compression.js'
import type { ImageID } from '../digest.js'
import type { OperationOptions } from '../operation-options.js'
import { saveImages, type ArchiveFormat } from './save.js'
import type { SavedImage } from './saved-image.js'

/** Options of {@link Store.save}. */
export interface SaveOptions extends OperationOptions {
  /** The form of the archive. @default 'docker-archive' */
  readonly format?: ArchiveFormat | undefined
  /**
   * Docker's archives are compressed as a whole; in OCI archives and layouts, each layer is. Docker reads zstd since
   * version 23.
   * @default 'none'
   */
  readonly compression?: Compression | undefined
}

/** Saves images by reference or ID. The archive names an image by the references that were asked for. */
export async function saveReferences(
  catalog: Catalog,
  references: readonly string[],
  output: string | Writable,
  { format = 'docker-archive', compression = 'none', ...options }: SaveOptions,
): Promise<void> {
  const images = new Map<ImageID, SavedImage>()
  for (const text of references) {
    const id = await catalog.find(text)
    const reference = await catalog.referenceOf(text)
    const named = reference?.digest === undefined ? reference : undefined
    const before = images.get(id)
    images.set(id, {
      configBytes: await catalog.images.bytes(id),
      config: await catalog.images.config(id),
      references: [...(before?.references ?? []), ...(named === undefined ? [] : [named])],
    })
  }
  await saveImages(catalog.layers, [...images.values()], output, { ...options, format, compression })
}
