// Holds the dashboards to the types of Grafana's foundation SDK: each panel's options, fields
// and queries, and the dashboard around them, become literals in one TypeScript file, so that
// the compiler finds what is missing, misspelt or of another type.
//
//   node schema.mjs FOLDER_OF_THE_SDK dashboard.json...

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const [folder, ...files] = process.argv.slice(2)
const sdk = path.join(folder, 'node_modules/@grafana/grafana-foundation-sdk/dist')
const types = path.join(folder, 'types')

const moduleOf = {
  timeseries: 'timeseries', stat: 'stat', table: 'table', 'state-timeline': 'statetimeline', heatmap: 'heatmap', bargauge: 'bargauge',
}

// The SDK's declarations without builders and markers, and with literals for enums: JSON has
// no others.
function declarations(module) {
  const text = fs.readFileSync(path.join(sdk, module, 'types.gen.d.ts'), 'utf8')
    .replace(/export declare enum (\w+) \{([^}]*)\}/g, (_, name, body) =>
      `export type ${name} = ${body.split(',').map((m) => m.split('=')[1]).filter(Boolean).map((v) => v.trim()).join(' | ')};`)
  return text.split('\n').filter((l) => !/_implements|export declare const/.test(l)).join('\n')
}

const modules = ['common', 'cog', 'dashboard', 'prometheus', ...Object.values(moduleOf)]
for (const m of modules) {
  fs.mkdirSync(path.join(types, m), { recursive: true })
  const own = fs.existsSync(path.join(sdk, m, 'types.gen.d.ts'))
  fs.writeFileSync(path.join(types, m, 'index.d.ts'), own ? declarations(m) : fs.readFileSync(path.join(sdk, m, 'index.d.ts'), 'utf8'))
}

// What the Prometheus data source reads of an annotation is not in the SDK.
const ofDatasource = ['expr', 'step', 'tagKeys', 'textFormat', 'titleFormat', 'useValueForTime']

let count = 0
const out = modules.map((m) => `import * as ${m} from './types/${m}'`)
const literal = (type, value) => out.push(`export const v${count++}: ${type} = ${JSON.stringify(value, null, 1)}`)

let panels = 0
for (const file of files) {
  const board = JSON.parse(fs.readFileSync(file, 'utf8'))
  for (const p of board.panels.filter((p) => p.type !== 'row')) {
    panels++
    const m = moduleOf[p.type]
    const fields = /\bFieldConfig\b/.test(declarations(m)) ? `${m}.FieldConfig` : 'Record<string, never>'
    out.push(`// ${board.title}: ${p.title}`)
    literal(`${m}.Options`, p.options)
    literal(fields, p.fieldConfig.defaults.custom)
    p.targets.forEach((t) => literal('prometheus.Dataquery', t))
    delete p.options
    delete p.fieldConfig.defaults.custom
    p.targets = []
  }
  for (const a of board.annotations.list) ofDatasource.forEach((k) => delete a[k])
  literal('dashboard.Dashboard', board)
}

const source = path.join(folder, 'dashboards.ts')
fs.writeFileSync(source, out.join('\n') + '\n')
const compiler = path.join(folder, 'node_modules/typescript/bin/tsc')
try {
  execFileSync(process.execPath, [compiler, '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--moduleResolution', 'node', source], { encoding: 'utf8' })
} catch (e) {
  process.stdout.write(e.stdout ?? String(e))
  process.exit(1)
}
console.log(`${panels} panels of ${files.length} dashboards are as Grafana's schema wants them`)
