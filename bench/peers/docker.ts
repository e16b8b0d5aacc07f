import { createReadStream } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { startDockerd } from '../../test/support/dockerd.js'
import type { Clock } from '../clock.js'
import { NotHere, type Workspace, type Task } from '../workload.js'

/** Starts a separate dockerd. It is called through its API, because starting a client for each call takes time. */
export async function dockerPeer(workspace: Workspace) {
  if (process.getuid?.() !== 0) throw new NotHere('dockerd needs root')
  const root = join(workspace.directory, 'docker')
  const daemon = await startDockerd({ root })
  const socketPath = daemon.host.replace('unix://', '')

  async function api(method: string, path: string, body?: Readable | object): Promise<Buffer> {
    return collect(await call(method, path, body))
  }

  function call(method: string, path: string, body?: Readable | object): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const isStream = body !== undefined && 'pipe' in body
      const type = isStream ? 'application/x-tar' : 'application/json'
      const asked = request({ socketPath, method, path, headers: { 'Content-Type': type } }, (answer) => {
        if ((answer.statusCode ?? 500) < 400) return resolve(answer)
        collect(answer).then(
          (said) => reject(new Error(`docker ${method} ${path}: ${said.toString()}`)),
          reject,
        )
      })
      asked.once('error', reject)
      if (isStream) pipeline(body as Readable, asked).catch(reject)
      else asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }

  return {
    cli: daemon.cli,
    text: daemon.text,
    /** Loads a docker-archive with `POST /images/load`. */
    load: async (path: string): Promise<void> => {
      const said = await api('POST', '/images/load?quiet=1', createReadStream(path))
      if (said.includes('"error"')) throw new Error(`docker load: ${said.toString()}`)
    },
    save: async (reference: string, sink: NodeJS.WritableStream): Promise<void> => {
      await pipeline(await call('GET', `/images/${reference}/get`), sink)
    },
    import: async (tar: string | Readable, reference: string): Promise<void> => {
      const source = typeof tar === 'string' ? createReadStream(tar) : tar
      const said = await api('POST', `/images/create?fromSrc=-&repo=${reference}&tag=latest`, source)
      if (said.includes('"error"')) throw new Error(`docker import: ${said.toString()}`)
    },
    export: (container: string): Promise<Readable> => call('GET', `/containers/${container}/export`),
    create: async (reference: string): Promise<string> => {
      const wanted = { Image: reference, Cmd: ['/never-run'], HostConfig: { NetworkMode: 'none' } }
      return (JSON.parse((await api('POST', '/containers/create', wanted)).toString()) as { Id: string }).Id
    },
    removeContainer: async (id: string): Promise<void> => void (await api('DELETE', `/containers/${id}?v=1`)),
    /** Unpacks a tar into a container. */
    put: async (id: string, tar: Readable): Promise<void> =>
      void (await api('PUT', `/containers/${id}/archive?path=/`, tar)),
    changes: async (id: string): Promise<Buffer> => api('GET', `/containers/${id}/changes`),
    commit: async (id: string): Promise<string> =>
      (JSON.parse((await api('POST', `/commit?container=${id}&pause=0`, {})).toString()) as { Id: string })
        .Id,
    removeImage: async (reference: string): Promise<void> =>
      void (await api('DELETE', `/images/${reference}?force=1`)),
    task: (run: (clock: Clock) => Promise<void>): Task => ({
      run,
      helpers: root,
      [Symbol.asyncDispose]: () => daemon.stop(),
    }),
    /** The daemon's data directory. */
    root,
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
