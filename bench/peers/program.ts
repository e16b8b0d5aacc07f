import { spawn } from 'node:child_process'

/** Runs a line of shell with its words as `$1`, `$2` … to its end. */
export async function shell(line: string, ...words: readonly string[]): Promise<void> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', line, 'bash', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
  })
  if (code !== 0) throw new Error(`${line}: exit ${code}: ${Buffer.concat(said).toString().trim()}`)
}

/** Writes out everything of the file system that a directory is on, as a durable store has done before it answers. */
export function syncDisk(directory: string): Promise<void> {
  return shell('sync --file-system "$1"', directory)
}
