import { randomUUID } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { PassThrough, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import fse from 'fs-extra'
import { pack } from 'tar-stream'
import { compress } from '../compression/compress.js'
import type { Compression } from '../compression/compression.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { StoreError, storeError } from '../errors.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation-options.js'
import { writeLegacyArchive } from './legacy-archive.js'
import { writeOciLayout } from './oci-layout.js'
import { outputFile } from './output-file.js'
import type { SavedImage } from './saved-image.js'
import { DirectorySink, TarSink, type Sink } from './sink.js'

/**
 * The form of an archive.
 *
 * - `docker-archive`: what `docker save` writes since version 25; older versions of Docker read it too. An OCI layout
 *   with Docker's `manifest.json` added.
 * - `docker-archive-legacy`: what `docker save` wrote before.
 * - `oci-archive`: an OCI layout as a tar.
 * - `oci-layout`: an OCI layout as a directory.
 */
export type ArchiveFormat = 'docker-archive' | 'docker-archive-legacy' | 'oci-archive' | 'oci-layout'

export interface SaveImagesOptions extends OperationOptions {
  readonly format: ArchiveFormat
  readonly compression: Compression
}

/** Writes images to a file, a directory or a stream. A file or directory appears complete or not at all. */
export async function saveImages(
  layers: LayerStore,
  images: readonly SavedImage[],
  output: string | Writable,
  options: SaveImagesOptions,
): Promise<void> {
  const temporary = typeof output === 'string' ? dirname(resolve(output)) : tmpdir()
  const write = (sink: Sink) => writeImages(layers, images, sink, temporary, options)
  if (options.format === 'oci-layout') {
    if (typeof output !== 'string')
      throw new TypeError('an OCI layout is a directory: pass its path instead of a stream')
    return whole(output, options, (path) => write(new DirectorySink(path)))
  }
  if (typeof output !== 'string') return writeTar(write, output, options)
  return whole(output, options, async (path) => writeTar(write, await outputFile(path), options))
}

function writeImages(
  layers: LayerStore,
  images: readonly SavedImage[],
  sink: Sink,
  temporary: string,
  options: SaveImagesOptions,
): Promise<void> {
  if (options.format === 'docker-archive-legacy') return writeLegacyArchive(layers, images, sink, options)
  const forDocker = options.format === 'docker-archive'
  const compression = forDocker ? 'none' : options.compression
  return writeOciLayout(layers, images, sink, { ...options, compression, forDocker, temporary })
}

/** Docker archives are compressed as a whole; OCI layouts compress each layer. */
async function writeTar(
  write: (sink: Sink) => Promise<void>,
  output: Writable,
  { format, compression, signal }: SaveImagesOptions,
): Promise<void> {
  signal?.throwIfAborted()
  // A pipeline into an ended stream would wait forever.
  if (!output.writable) throw new StoreError('SYSTEM', 'could not write the archive: the output is closed')
  const tar = pack()
  const plain = new PassThrough()
  tar.on('error', (error) => plain.destroy(error))
  tar.pipe(plain)
  const packed = compress(format.startsWith('docker') ? compression : 'none', plain)
  const written = pipeline(packed, output, signal === undefined ? {} : { signal })
  const stop = (error: unknown): never => {
    tar.destroy()
    plain.destroy(error as Error)
    throw error
  }
  try {
    // The first failure stops the other side, which would wait forever.
    await Promise.all([write(new TarSink(tar)).then(() => tar.finalize(), stop), written.catch(stop)])
  } catch (error) {
    await written.catch(() => undefined)
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', 'could not write the archive')
  }
}

async function whole(
  path: string,
  { signal }: OperationOptions,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  signal?.throwIfAborted()
  const temporary = join(dirname(path), `.${randomUUID()}.saving`)
  if (await fse.pathExists(path)) throw new StoreError('NAME_CONFLICT', `${path} already exists`, { path })
  try {
    await write(temporary)
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', `could not write ${path}`)
  }
}
