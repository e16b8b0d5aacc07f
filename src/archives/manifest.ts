import type { ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { ResolvedLimits } from '../limits.js'
import type { ArchiveFiles } from './archive-files.js'
import { archivedImage, type ArchivedImage } from './archived-image.js'
import { Documents, manifestInvalid } from './documents.js'
import { ociImages } from './oci-index.js'
import type { Platform } from '../images/platform.js'

export interface ReadImagesOptions {
  /** Which image to take if several are one image for different platforms. */
  readonly platform?: Platform | undefined
  readonly limits: ResolvedLimits
  readonly signal?: AbortSignal | undefined
}

/** Reads the images of an archive: from Docker's `manifest.json` if it exists, else from OCI's `index.json`. */
export async function readImages(
  files: ArchiveFiles,
  { platform, limits, signal }: ReadImagesOptions,
): Promise<ArchivedImage[]> {
  const documents = new Documents(files, limits, signal)
  if (files.has('manifest.json')) return merged(await dockerImages(documents))
  if (files.has('index.json')) return merged(await ociImages(documents, platform))
  throw new StoreError('ARCHIVE_UNSUPPORTED', 'the archive is neither a docker-archive nor an OCI layout', {
    hint: 'it has neither manifest.json nor index.json; for a plain root filesystem, use import()',
  })
}

/** An image named several times is one image with several names. */
function merged(images: readonly ArchivedImage[]): ArchivedImage[] {
  const references = new Map<ImageID, Set<string>>()
  const byId = new Map<ImageID, ArchivedImage>()
  for (const image of images) {
    const names = references.get(image.id) ?? new Set()
    references.set(image.id, names)
    for (const name of image.references) names.add(name)
    if (!byId.has(image.id)) byId.set(image.id, image)
  }
  return [...byId.values()].map((image) => ({ ...image, references: [...(references.get(image.id) ?? [])] }))
}

interface DockerEntry {
  readonly Config: string
  readonly RepoTags?: readonly string[] | null
  readonly Layers: readonly string[]
}

async function dockerImages(documents: Documents): Promise<ArchivedImage[]> {
  const entries = await documents.json('manifest.json')
  if (!Array.isArray(entries) || !entries.every(isDockerEntry)) {
    throw manifestInvalid('manifest.json is malformed')
  }
  const images: ArchivedImage[] = []
  for (const { Config, RepoTags, Layers } of entries) {
    const layers = Layers.map((name) => ({ name, blob: undefined }))
    images.push(archivedImage(await documents.config(Config), RepoTags ?? [], layers))
  }
  return images
}

function isDockerEntry(value: unknown): value is DockerEntry {
  const entry = value as DockerEntry | null
  return (
    typeof entry?.Config === 'string' &&
    isTexts(entry.Layers) &&
    (entry.RepoTags === undefined || entry.RepoTags === null || isTexts(entry.RepoTags))
  )
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
