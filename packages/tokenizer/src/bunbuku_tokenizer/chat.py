"""The chat template: Japanese Alpaca, in the Jinja dialect of Hugging Face.

```text
<s>以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。

### 指示:
日本で一番高い山は何ですか。

### 応答:
富士山です。</s>
```

What stands between the `generation` marks is what a model learns to say: the answer and the token that ends it.
"""

SYSTEM = "以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。"
"""Said first in a conversation without a system message of its own."""

USER, ASSISTANT = MARKS = ("### 指示:", "### 応答:")
"""What stands above each turn. Each is one piece of the vocabulary; it may occur in any text, and means nothing there."""

TEMPLATE = (
    "{{- bos_token }}"
    "{%- if messages and messages[0]['role'] == 'system' %}"
    "{{- messages[0]['content'] }}{%- set turns = messages[1:] %}"
    "{%- else %}"
    f"{{{{- '{SYSTEM}' }}}}{{%- set turns = messages %}}"
    "{%- endif %}"
    "{%- for message in turns %}"
    "{%- if message['role'] == 'user' %}"
    f"{{{{- '\\n\\n{USER}\\n' + message['content'] }}}}"
    "{%- elif message['role'] == 'assistant' %}"
    f"{{{{- '\\n\\n{ASSISTANT}\\n' }}}}"
    "{%- generation %}{{- message['content'] + eos_token }}{%- endgeneration %}"
    "{%- else %}"
    "{{- raise_exception('a message is from the user or the assistant, and the system speaks first; found ' "
    "+ message['role']) }}"
    "{%- endif %}"
    "{%- endfor %}"
    f"{{%- if add_generation_prompt %}}{{{{- '\\n\\n{ASSISTANT}\\n' }}}}{{%- endif %}}"
)
